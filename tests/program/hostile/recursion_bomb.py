def deeper(n):
    return deeper(n + 1) + 1


final_answer = deeper(0)
