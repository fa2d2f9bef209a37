"""An engine as a package for other people's tools."""
