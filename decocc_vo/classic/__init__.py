"""
The methods DECOCC is compared with, behind the same ``fit(table, region) -> Membership``.

`~decocc_vo.classic.kmeans.KMeansClassifier`, `~decocc_vo.classic.density.DensityClassifier` and
`~decocc_vo.classic.clusterix.Clusterix`; nothing is loaded here, so that importing the package stays quick.
"""
