final_answer = "x" * (10 << 20)
