"""One file for each group of commands: parse, call one library function, print. The only part of the package that
imports `hub`."""
