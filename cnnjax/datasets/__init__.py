"""Images as uint8 arrays: MNIST and Fashion-MNIST, from files, a checked download or a package; folders of one's own.

>>> train_images, train_labels, test_images, test_labels = mnist()
>>> train_images.shape, train_labels.shape, test_images.shape, test_labels.shape
((4000, 28, 28), (4000,), (1000, 28, 28), (1000,))
"""

from cnnjax.datasets.idx import read_idx
from cnnjax.datasets.image_data import ImageData
from cnnjax.datasets.image_folder import image_folder
from cnnjax.datasets.sets import fashion_mnist, mnist

__all__ = ["ImageData", "fashion_mnist", "image_folder", "mnist", "read_idx"]
