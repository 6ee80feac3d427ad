"""Weights that other libraries wrote: pickles without torch, checkpoints of DeepMind's experiments, Haiku's names."""
