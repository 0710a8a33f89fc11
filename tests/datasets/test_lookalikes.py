"""The sums and sizes by which KMNIST and EMNIST are recognised."""

import re

from cnnjax.datasets import lookalikes, published


def test_the_sums_are_well_formed_and_different():
    known = lookalikes._BY_SUM
    assert len(known) == 4 + 6 * 4
    assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in known)
    assert not set(known) & {file.md5 for data in (published.MNIST, published.FASHION_MNIST) for file in data.files}


def test_a_file_is_found_by_the_sum_of_its_gz_file_or_not_at_all():
    assert lookalikes.find_by_sum("bdb82020997e1d708af4cf47b453dcf7") == "KMNIST's train-images-idx3-ubyte.gz"
    letters = "EMNIST's emnist-letters-test-labels-idx1-ubyte.gz"
    assert lookalikes.find_by_sum("d4108920cd86601ec7689a97f2de7f59") == letters
    assert lookalikes.find_by_sum("0" * 32) is None
    assert lookalikes.find_by_sum(None) is None


def test_the_sizes_are_those_of_emnist_alone():
    assert lookalikes.find_by_count(240_000) == "the training set of EMNIST Digits"
    for data in (published.MNIST, published.FASHION_MNIST):
        assert not any(lookalikes.find_by_count(file.count) for file in data.files)
