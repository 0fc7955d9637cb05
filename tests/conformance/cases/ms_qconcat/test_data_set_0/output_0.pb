ByJ
fWŠ´‘O{D³x