/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults on demand as properties of the device: on its command line, and by
 * qom-set while the machine runs. What each does is said in rdu_card.h and in
 * Documentation/faults.md.
 */
#include "qemu/osdep.h"
#include "rdu.h"

bool rdu_injected(RduState *s, enum rdu_inject flag)
{
	return s->card && rdu_card_injected(s->card, flag);
}

static bool rdu_dead(RduState *s)
{
	return rdu_injected(s, RDU_INJECT_DEAD) || rdu_injected(s, RDU_INJECT_GONE);
}

static bool rdu_inject(RduState *s, enum rdu_inject what, int64_t value, Error **errp)
{
	bool was_dead = rdu_dead(s), was_gone = rdu_injected(s, RDU_INJECT_GONE);

	if (rdu_card_inject(s->card, what, value)) {
		error_setg(errp, "a queue from 0 to %d, or -1 for none, is wanted",
			   RDU_MAX_QUEUES - 1);
		return false;
	}
	if (rdu_dead(s) != was_dead) {
		rdu_host_reset(s); /* the card has been reset */
		if (was_dead) {
			rdu_mem_clear(s);
		}
		rdu_answer_update(s);
	}
	/* Back on the bus, its configuration space is empty. */
	if (was_gone && !rdu_injected(s, RDU_INJECT_GONE)) {
		pci_device_reset(PCI_DEVICE(s));
	}
	return true;
}

bool rdu_inject_realize(RduState *s, Error **errp)
{
	for (int i = 0; i < RDU_NUM_INJECTS; i++) {
		if (!rdu_inject(s, i, s->inject[i], errp)) {
			return false;
		}
	}
	return true;
}

void rdu_inject_instance_init(Object *obj)
{
	RduState *s = RDU(obj);

	for (int i = 0; i < RDU_NUM_INJECTS; i++) {
		s->inject[i] = rdu_inject_kind(i) == RDU_INJECT_QUEUE ? -1 : 0;
	}
}

/* ---- properties ---------------------------------------------------------- */

static bool rdu_inject_visit(Visitor *v, const char *name, enum rdu_inject what, int64_t *value,
			     Error **errp)
{
	uint32_t count = *value;
	int32_t queue = *value;
	bool flag = *value;

	switch (rdu_inject_kind(what)) {
	case RDU_INJECT_QUEUE:
		if (!visit_type_int32(v, name, &queue, errp)) {
			return false;
		}
		*value = queue;
		return true;
	case RDU_INJECT_COUNT:
		if (!visit_type_uint32(v, name, &count, errp)) {
			return false;
		}
		*value = count;
		return true;
	case RDU_INJECT_FLAG:
		if (!visit_type_bool(v, name, &flag, errp)) {
			return false;
		}
		*value = flag;
		return true;
	}
	g_assert_not_reached();
}

static void rdu_inject_get(Object *obj, Visitor *v, const char *name, void *opaque, Error **errp)
{
	RduState *s = RDU(obj);
	enum rdu_inject what = (uintptr_t)opaque;
	int64_t value = s->card ? rdu_card_injected(s->card, what) : s->inject[what];

	rdu_inject_visit(v, name, what, &value, errp);
}

static void rdu_inject_set(Object *obj, Visitor *v, const char *name, void *opaque, Error **errp)
{
	RduState *s = RDU(obj);
	enum rdu_inject what = (uintptr_t)opaque;
	int64_t value = 0;

	if (!rdu_inject_visit(v, name, what, &value, errp)) {
		return;
	}
	if (s->card) {
		rdu_inject(s, what, value, errp);
	} else {
		s->inject[what] = value;
	}
}

static const struct {
	const char *property, *type, *meaning;
} rdu_injects[] = {
#define RDU_INJECT_TYPE_QUEUE "int32"
#define RDU_INJECT_TYPE_COUNT "uint32"
#define RDU_INJECT_TYPE_FLAG "bool"
#define RDU_INJECT_ROW(n, p, k, t) [RDU_INJECT_##n] = { p, RDU_INJECT_TYPE_##k, t },
	RDU_INJECTS(RDU_INJECT_ROW)
};

void rdu_inject_properties(ObjectClass *klass)
{
	for (uintptr_t i = 0; i < RDU_NUM_INJECTS; i++) {
		object_class_property_add(klass, rdu_injects[i].property, rdu_injects[i].type,
					  rdu_inject_get, rdu_inject_set, NULL, (void *)i);
		object_class_property_set_description(klass, rdu_injects[i].property,
						      rdu_injects[i].meaning);
	}
}
