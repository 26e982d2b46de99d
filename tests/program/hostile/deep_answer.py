final_answer = []
for _ in range(5_000):
    final_answer = [final_answer]
