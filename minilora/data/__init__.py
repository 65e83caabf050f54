"""Data that needs no download: it is made from what Python and matplotlib ship."""
