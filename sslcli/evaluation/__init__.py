"""Judging backbones on labelled pictures: features, nearest neighbours, votes."""
