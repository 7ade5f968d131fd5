"""Synthetic images of overlapping coloured discs (dead leaves), for an environment without photographs.

An environment without data uses them. An agent for photographs must be trained on photographs.

Source: the dead leaves model (Lee, Mumford, Huang: Occlusion Models for Natural Images, IJCV 2001), whose
edges and scales are distributed much like those of natural images.
"""

import torch

from rlrestore.imaging.patches import PhotoBank

IMAGES = 8
SIDE = 160
LEAVES = 200
SMALLEST_PX = 2.0
LARGEST_PX = 50.0
SEED = 0


def dead_leaves(device: torch.device | str = "cpu") -> PhotoBank:
    """Return a bank of images, the same at every call; the radii of their discs are log-uniform."""
    draws = torch.rand(6, LEAVES, IMAGES, 1, 1, generator=torch.Generator().manual_seed(SEED))
    rows, columns = draws[:2] * SIDE
    radii = SMALLEST_PX * (LARGEST_PX / SMALLEST_PX) ** draws[2]
    colours = (255 * draws[3:]).round().to(torch.uint8).permute(1, 2, 3, 4, 0)  # (leaves, images, 1, 1, 3)
    line = torch.arange(SIDE)
    images = colours[0].expand(-1, SIDE, SIDE, -1)
    for leaf in range(1, LEAVES):
        distance = (line[:, None] - rows[leaf]) ** 2 + (line - columns[leaf]) ** 2  # (images, SIDE, SIDE)
        images = torch.where((distance < radii[leaf] ** 2)[..., None], colours[leaf], images)
    return PhotoBank(list(images.numpy()), device)
