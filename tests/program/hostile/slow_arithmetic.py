final_answer = str(10**10**10)
