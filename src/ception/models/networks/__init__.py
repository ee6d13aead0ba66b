"""What builds the networks from their tables, with Keras."""
