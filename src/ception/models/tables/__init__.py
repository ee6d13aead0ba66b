"""The networks as data: tables of frozen rows, read by what builds, names, sizes and lists them; no Keras here."""
