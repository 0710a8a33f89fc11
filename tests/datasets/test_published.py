"""The table of published files is well formed."""

import re

from idx_files import NAMES

from cnnjax.datasets import published


def test_the_published_mirrors_and_sums_are_well_formed():
    for data in (published.MNIST, published.FASHION_MNIST):
        assert [file.name for file in data.files] == list(NAMES)
        assert all(re.fullmatch("[0-9a-f]{32}", file.md5) for file in data.files)
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in data.files)
        assert all(re.fullmatch("https?://.*/", mirror) for mirror in data.mirrors)
        assert len(data.class_names) == 10
