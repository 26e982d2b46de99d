import os

final_answer = os.listdir("/")
