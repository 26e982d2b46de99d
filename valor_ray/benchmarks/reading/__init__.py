"""From the files of a set, here or on the hub, to rows, fields, options and pictures."""
