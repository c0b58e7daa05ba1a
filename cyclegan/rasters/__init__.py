"""Pictures that aren't 8-bit RGB: any depth and number of channels, with values in units of their own.

    raster     the picture itself: values, geometry, the way to a network's numbers and to a screen
    opening    a file as its domain has it: 8-bit RGB, or a raster
    files      from a file or a stack of slices to rasters, and back, whatever the format
"""
