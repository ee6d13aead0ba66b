"""What several test modules need: pictures, reporters, runs, and networks to compare with."""
