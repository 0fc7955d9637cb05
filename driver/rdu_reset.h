/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RDU_RESET_H
#define RDU_RESET_H

#include <linux/pci.h>
#include <linux/pm.h>

#include "rdu_device.h"

/* rdu_reset.c: whoever holds the card is the only one to reset it. */
void rdu_reset_init(struct rdu_device *rdev);
void rdu_error_abandon(struct rdu_device *rdev);
void rdu_card_hold(struct rdu_device *rdev);
bool rdu_card_drain(struct rdu_device *rdev);
void rdu_card_take(struct rdu_device *rdev);
void rdu_card_reload(struct rdu_device *rdev);
void rdu_card_wedge(struct rdu_device *rdev, const char *why);
void rdu_card_release(struct rdu_device *rdev);

void rdu_card_close(struct rdu_device *rdev);

extern const struct pci_error_handlers rdu_err_handlers;

/* rdu_pm.c */
extern const struct dev_pm_ops rdu_pm_ops;
void rdu_pm_init(struct rdu_device *rdev);
void rdu_pm_fini(struct rdu_device *rdev);
bool rdu_pm_get_awake(struct rdu_device *rdev);
void rdu_pm_put_awake(struct rdu_device *rdev);

#endif
