blocks = []
while True:
    blocks.append([float(len(blocks))] * 100_000)
