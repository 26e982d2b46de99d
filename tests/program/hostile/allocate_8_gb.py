block = bytearray(8 << 30)
block[::4096] = b"x" * len(block[::4096])
final_answer = len(block)
