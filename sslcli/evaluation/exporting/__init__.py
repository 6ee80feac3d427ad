"""A trained backbone handed over to other tools: one file a format, each checked by opening it with that tool.

choosing        which network of a run: the student or the teacher
answers         what a network says of a fixed batch, and how far two networks differ
to_timm, to_safetensors, to_transformers, to_onnx       the formats
card            the README.md that goes along
handing         all of it, written beside its place and renamed into it
"""
