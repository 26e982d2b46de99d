while True:
    depth(img_pth, [0, 0, 10, 10])
