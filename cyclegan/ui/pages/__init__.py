"""The app's pages: layout and wiring, one file each."""
