"""Image files, quality measures, degradations, patches and tiling: the ground that everything stands on."""
