"""Pictures that aren't 8-bit RGB: any depth and number of channels, with values in units of their own.

    raster     the picture itself: values, geometry, the way to a network's numbers and to a screen
    ranges     the range of a domain's values, and the number of its channels
    files      from a file or a stack of slices to rasters, and back, whatever the format
"""
