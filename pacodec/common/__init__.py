"""What all other folders build on: pictures, sound and code grids as types, error measures, files, zstd frames."""
