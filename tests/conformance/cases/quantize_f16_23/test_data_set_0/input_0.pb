@
BxJ€GFá¾vÈÓ@×8+J¾¼š?¤ÅCÇ=ëÃI=KÆùArÀ~?~Ä›Ãº<D9ïÉËB%¸qBÎE.DBÃ(¿AE°ÃRÂñÄ@0ÃÖI6DúE)BéÁbÊ[GV>»È%K™C	HË¼oÈÅÃDIÉEÁÑEpE	7mÊ½…FmDÄ¿Ñ?