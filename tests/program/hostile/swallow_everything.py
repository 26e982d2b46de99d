while True:
    try:
        gd_detect(img_pth, 1)
    except BaseException:
        pass
