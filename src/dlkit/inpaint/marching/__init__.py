"""Filling in one pass from the hole's edge inwards.

front   fast marching: the order of the pixels and their distance from the edge
telea, navier_stokes   what a new pixel is made from
"""
