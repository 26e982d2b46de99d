"""What is loaded inside the sandbox: standard library, numpy, and of ours these files, `walls`, `tools` and `records`.

The driver reads `protocol` and `placeholders` from here as well; nothing here reads the driver's half.
"""
