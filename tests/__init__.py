"""The tests; a package, because other packages install one of this name, too."""
