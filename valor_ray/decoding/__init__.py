"""From the bytes of a picture file to pixels, in time and memory that the settings bound (docs/design/pictures.md)."""
