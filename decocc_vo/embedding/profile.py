"""The profile of a cluster on the sky."""

import numpy as np

__all__ = ["log_plummer"]


def log_plummer(sky, centre, radius, xp=np):
    """
    Log surface density of a Plummer sphere, relative to its centre: (1 + r^2 / a^2)^-2.

    Plummer 1911, MNRAS 71, 460.

    Parameters
    ----------
    sky : `~numpy.ndarray`, shape (..., 2)
        Places.
    centre : `~numpy.ndarray`, shape (2,)
        Of the cluster.
    radius : float or `~numpy.ndarray`
        Scale radius a, in the same unit.
    xp : module, optional
        ``jax.numpy`` for arrays of JAX.

    Returns
    -------
    log_density : `~numpy.ndarray`

    Examples
    --------
    >>> import numpy as np
    >>> from decocc_vo.embedding.profile import log_plummer
    >>> np.exp(log_plummer(np.array([[0.0, 0.0], [3.0, 4.0]]), np.zeros(2), 5.0))
    array([1.  , 0.25])
    """
    return -2 * xp.log1p(xp.sum((sky - centre) ** 2, axis=-1) / radius**2)
