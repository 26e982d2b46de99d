"""VALOR's rivals, a file each, over the same tools, records and sandbox."""
