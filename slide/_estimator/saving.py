"""The methods that save an estimator and load it again."""

from __future__ import annotations

import os
from typing import Self

from slide._base.files import as_path
from slide._base.locks import between_two
from slide._estimator.fitted import FittedAttributes
from slide._saving import model_file
from slide._saving.model_file import Saved


class Saving(FittedAttributes):
    """Mixin of an estimator that is saved to a model file."""

    @between_two
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file, which `load` can read.

        The file is in safetensors format. Weights, moments and hash tables are arrays that other
        programs can read. The rest is JSON under "slide" in the file's metadata. The file holds no
        pickle, so you can load a file from a stranger. It appears whole or not at all: if writing
        fails or the process is killed, an existing file stays as it was. A kill may leave a folder
        `.NAME.HEX.tmp` next to it, which you can delete. Checksums let `load` find damage, but not
        forgery.

        Parameters
        ----------
        path : str or path-like
            File to write or replace.

        Raises
        ------
        NotFittedError
            When the estimator is not fitted.
        ValueError
            When a parameter is wrong or has a type that JSON cannot hold, or `path` is not a file.
        OSError
            When the file cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from slide import SparseMLPClassifier
        >>> from slide.datasets import make_extreme_classification
        >>> X, y = make_extreme_classification(500, 400, 20, random_state=0)
        >>> clf = SparseMLPClassifier(random_state=0, max_iter=2).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clf.save(Path(folder) / "model.safetensors")
        ...     twin = SparseMLPClassifier.load(Path(folder) / "model.safetensors")
        >>> bool((twin.decision_function(X) == clf.decision_function(X)).all())
        True
        """
        fitted = self._result()
        saved = Saved(self.get_params(deep=False), fitted, fitted.feature_names)
        model_file.write(as_path(path), saved)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Load an estimator from a file that `save` wrote.

        It predicts like the saved estimator. With one thread it also continues training like it,
        bit by bit on a machine with the same instruction set.

        Parameters
        ----------
        path : str or path-like
            File of `save`, written by this version of the package or an older one.

        Returns
        -------
        estimator : SparseMLPClassifier
            Estimator of the class that you call `load` on.

        Raises
        ------
        OSError
            When the file does not exist or you have no right to read it.
        ValueError
            When `save` did not write the file, when it is cut short or damaged, or when a newer
            version wrote it. Every array is checked, so a file that was tampered with may predict
            anything but does no harm.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from slide import SparseMLPClassifier
        >>> X, y = [[0.0, 1.0], [1.0, 0.0], [0.1, 0.9], [0.9, 0.2]], [0, 1, 0, 1]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "model.safetensors"
        ...     SparseMLPClassifier((16,), random_state=0).fit(X, y).save(path)
        ...     clf = SparseMLPClassifier.load(path)
        >>> clf.predict(X).tolist()
        [0, 1, 0, 1]
        """
        saved = model_file.read(as_path(path), defaults=cls().get_params(deep=False))
        estimator = cls(**saved.params)
        estimator._fitted = saved.fitted
        return estimator
