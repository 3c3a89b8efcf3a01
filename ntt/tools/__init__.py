"""Argument lists and output formats of the programs that NTT runs; pure functions."""
