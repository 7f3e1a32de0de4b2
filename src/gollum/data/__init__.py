"""Tables in, immutable pools of candidate experiments out."""
