final_answer = []
for _ in range(100_000):
    final_answer = [final_answer]
