final_answer = len(gd_detect(img_pth, "x" * (10 << 20)))
