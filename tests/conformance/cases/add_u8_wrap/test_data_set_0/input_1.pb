BbJd
ú