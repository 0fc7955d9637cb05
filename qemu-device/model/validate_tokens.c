// SPDX-License-Identifier: MIT
/*
 * Validation of buffers and tokens: what orders a buffer's writer and readers,
 * and a run of the token graph, stage by stage, that must come to its end.
 */
#include <stdlib.h>
#include <string.h>
#include "fabric_priv.h"

/* ---- buffers ----------------------------------------------------------- */

struct buffer_place {
	uint64_t pmu, base, end;
	uint32_t index;
};

static int by_place(const void *pa, const void *pb)
{
	const struct buffer_place *a = pa, *b = pb;

	if (a->pmu != b->pmu)
		return a->pmu < b->pmu ? -1 : 1;
	if (a->base != b->base)
		return a->base < b->base ? -1 : 1;
	return a->index < b->index ? -1 : 1;
}

static int check_buffers(struct rdu_section *s, struct rdu_cfg_diag *diag)
{
	uint32_t n = s->hdr->buffers.count, pmus = rdu_chip_pmus_per_tile(&s->chip), i;
	struct buffer_place *place = calloc((size_t)n + 1, sizeof(*place));
	int ret = 0;

	if (!place)
		return RDU_REFUSE(s, diag, TOO_LARGE, &s->hdr->buffers, "no memory");
	for (i = 0; i < n && !ret; i++) {
		const struct rdu_cfg_buffer *b = &s->buffers[i];

		place[i].pmu = (uint64_t)b->tile * pmus + b->unit;
		place[i].base = b->base;
		place[i].end = b->base + (uint64_t)b->copies * b->words;
		place[i].index = i;
		if (b->tile >= s->hdr->num_tiles || b->unit >= pmus)
			ret = RDU_REFUSE(s, diag, UNIT, b, "buffer %u: PMU %u of tile %u", i,
					 b->unit, b->tile);
		else if (!b->copies || b->copies > RDU_MAX_COPIES || !b->words ||
			 place[i].end > s->chip.pmu_bytes / 4)
			ret = RDU_REFUSE(s, diag, BUFFER, b,
					 "buffer %u: %u copies of %u words at %u, scratchpad of %u",
					 i, b->copies, b->words, b->base, s->chip.pmu_bytes / 4);
	}
	if (!ret)
		qsort(place, n, sizeof(*place), by_place);
	for (i = 1; i < n && !ret; i++)
		if (place[i].pmu == place[i - 1].pmu && place[i].base < place[i - 1].end)
			ret = RDU_REFUSE(s, diag, BUFFER, &s->buffers[place[i].index],
					 "buffer %u overlaps buffer %u", place[i].index,
					 place[i - 1].index);
	free(place);
	return ret;
}

/* ---- what orders writer and reader ---------------------------------------- */

static int by_ends(const void *pa, const void *pb)
{
	const struct rdu_cfg_token *a = *(const struct rdu_cfg_token *const *)pa;
	const struct rdu_cfg_token *b = *(const struct rdu_cfg_token *const *)pb;

	if (a->src != b->src)
		return a->src < b->src ? -1 : 1;
	if (a->dst != b->dst)
		return a->dst < b->dst ? -1 : 1;
	return a < b ? -1 : a > b;
}

/* First of the sorted tokens not before (src, dst). */
static uint32_t lower(const struct rdu_cfg_token **sorted, uint32_t n, uint32_t src, uint32_t dst)
{
	uint32_t lo = 0, hi = n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (sorted[mid]->src < src || (sorted[mid]->src == src && sorted[mid]->dst < dst))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool has_token(const struct rdu_cfg_token **sorted, uint32_t n, uint32_t src, uint32_t dst,
		      uint32_t src_mask, uint32_t dst_mask, uint64_t initial)
{
	for (uint32_t i = lower(sorted, n, src, dst); i < n; i++) {
		if (sorted[i]->src != src || sorted[i]->dst != dst)
			return false;
		if (sorted[i]->src_mask == src_mask && sorted[i]->dst_mask == dst_mask &&
		    sorted[i]->initial == initial)
			return true;
	}
	return false;
}

static int check_reader(struct rdu_section *s, const struct rdu_cfg_token **sorted, uint32_t w,
			uint32_t r, struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_access *wa = s->progs[w].body, *ra = s->progs[r].body;
	uint32_t copies = s->buffers[ra->target].copies, n = s->hdr->tokens.count;
	uint32_t d = (wa->copy_start + copies - ra->copy_start) % copies;
	bool ordered = false;

	/* d or, when all copies start full or empty, d + copies (d is 0). */
	for (; d <= copies && !ordered; d += copies)
		ordered = has_token(sorted, n, w, r, wa->flip_mask, ra->flip_mask, d) &&
			  has_token(sorted, n, r, w, ra->flip_mask, wa->flip_mask, copies - d);
	if (!ordered)
		return RDU_REFUSE(s, diag, RACE, ra,
				  "buffer %u: no pair of edges orders writer %u (copy %u) and "
				  "reader %u (copy %u)",
				  ra->target, w, wa->copy_start, r, ra->copy_start);
	if (!s->has_arg_limits && rdu_outer_count(&s->progs[w], wa->flip_mask) !=
					  rdu_outer_count(&s->progs[r], ra->flip_mask))
		return RDU_REFUSE(
			s, diag, RACE, ra,
			"buffer %u: writer %u flips %llu times, reader %u %llu times", ra->target,
			w, (unsigned long long)rdu_outer_count(&s->progs[w], wa->flip_mask), r,
			(unsigned long long)rdu_outer_count(&s->progs[r], ra->flip_mask));
	return 0;
}

static int check_races(struct rdu_section *s, const struct rdu_cfg_token **sorted,
		       struct rdu_cfg_diag *diag)
{
	uint32_t n = s->hdr->programs.count, *writer, i;
	int ret = 0;

	writer = calloc((size_t)s->hdr->buffers.count + 1, sizeof(*writer));
	if (!writer)
		return RDU_REFUSE(s, diag, TOO_LARGE, &s->hdr->buffers, "no memory");
	for (i = 0; i < n && !ret; i++) {
		const struct rdu_cfg_access *a = s->progs[i].body;

		if (s->programs[i].kind != RDU_KIND_WRITE)
			continue;
		if (writer[a->target])
			ret = RDU_REFUSE(s, diag, RACE, a,
					 "buffer %u: written by programs %u and %u", a->target,
					 writer[a->target] - 1, i);
		writer[a->target] = i + 1;
	}
	for (i = 0; i < n && !ret; i++) {
		const struct rdu_cfg_access *a = s->progs[i].body;

		if (s->programs[i].kind == RDU_KIND_READ && writer[a->target])
			ret = check_reader(s, sorted, writer[a->target] - 1, i, diag);
	}
	free(writer);
	return ret;
}

/* ---- edges between stages ------------------------------------------------- */

void rdu_pattern_of(struct rdu_pattern *out, const struct rdu_unit_prog *p, uint32_t mask)
{
	uint32_t period = 1;
	bool joined = false; /* to the group inside of it */

	memset(out, 0, sizeof(*out));
	for (int i = p->cfg->num_outer - 1; i >= 0; i--) {
		if (p->trip[i] == 1)
			continue;
		if (!(mask >> i & 1)) {
			joined = false;
		} else if (joined) {
			out->group[out->num - 1].trip *= p->trip[i];
		} else {
			out->group[out->num].period = period;
			out->group[out->num++].trip = p->trip[i];
			joined = true;
		}
		period *= p->trip[i];
	}
}

static int by_behaviour(const void *pa, const void *pb)
{
	const struct rdu_edge *a = pa, *b = pb;
	int c;

	if (a->dst != b->dst)
		return a->dst < b->dst ? -1 : 1;
	if (a->src != b->src)
		return a->src < b->src ? -1 : 1;
	if (a->initial != b->initial)
		return a->initial < b->initial ? -1 : 1;
	c = memcmp(&a->src_at, &b->src_at, sizeof(a->src_at));
	if (!c)
		c = memcmp(&a->dst_at, &b->dst_at, sizeof(a->dst_at));
	return c;
}

static int by_behaviour_and_token(const void *pa, const void *pb)
{
	const struct rdu_edge *a = pa, *b = pb;
	int c = by_behaviour(pa, pb);

	return c ? c : a->token < b->token ? -1 : 1;
}

static int make_edges(struct rdu_section *s, struct rdu_cfg_diag *diag)
{
	uint32_t n = s->hdr->tokens.count, i, at, m = 0;

	s->edges = calloc((size_t)n + 1, sizeof(*s->edges));
	s->edge_in = calloc((size_t)n + 1, sizeof(*s->edge_in));
	s->edge_out = calloc((size_t)n + 1, sizeof(*s->edge_out));
	if (!s->edges || !s->edge_in || !s->edge_out)
		return RDU_REFUSE(s, diag, TOO_LARGE, &s->hdr->tokens, "no memory");
	for (i = 0; i < n; i++) {
		const struct rdu_cfg_token *t = &s->tokens[i];
		struct rdu_edge *e = &s->edges[i];

		e->src = s->progs[t->src].stage;
		e->dst = s->progs[t->dst].stage;
		e->initial = t->initial;
		e->token = i;
		rdu_pattern_of(&e->src_at, &s->progs[t->src], t->src_mask);
		rdu_pattern_of(&e->dst_at, &s->progs[t->dst], t->dst_mask);
	}
	qsort(s->edges, n, sizeof(*s->edges), by_behaviour_and_token);
	for (i = 0; i < n; i++)
		if (!m || by_behaviour(&s->edges[m - 1], &s->edges[i]))
			s->edges[m++] = s->edges[i];
	s->num_edges = m;
	for (i = 0; i < m; i++) {
		s->stages[s->edges[i].dst].num_in++;
		s->stages[s->edges[i].src].num_out++;
	}
	for (i = 0, at = 0; i < s->num_stages; i++) {
		s->stages[i].first_in = at;
		at += s->stages[i].num_in;
		s->stages[i].num_in = 0;
	}
	for (i = 0, at = 0; i < s->num_stages; i++) {
		s->stages[i].first_out = at;
		at += s->stages[i].num_out;
		s->stages[i].num_out = 0;
	}
	for (i = 0; i < m; i++) {
		struct rdu_stage *d = &s->stages[s->edges[i].dst];
		struct rdu_stage *o = &s->stages[s->edges[i].src];

		s->edge_in[d->first_in + d->num_in++] = i;
		s->edge_out[o->first_out + o->num_out++] = i;
	}
	return 0;
}

/* ---- the tokens' run -------------------------------------------------------- */

void rdu_tokens_start(const struct rdu_section *s, uint64_t *count, uint64_t *done)
{
	for (uint32_t i = 0; i < s->num_edges; i++)
		count[i] = s->edges[i].initial;
	memset(done, 0, s->num_stages * sizeof(*done));
}

bool rdu_tokens_ready(const struct rdu_section *s, const uint64_t *count, const uint64_t *done,
		      uint32_t stage)
{
	const struct rdu_stage *st = &s->stages[stage];

	if (done[stage] >= st->activations)
		return false;
	for (uint32_t i = 0; i < st->num_in; i++) {
		uint32_t e = s->edge_in[st->first_in + i];

		if (!count[e] && rdu_pattern_at_first(&s->edges[e].dst_at, done[stage]))
			return false;
	}
	return true;
}

void rdu_tokens_take(const struct rdu_section *s, uint64_t *count, const uint64_t *done,
		     uint32_t stage)
{
	const struct rdu_stage *st = &s->stages[stage];

	for (uint32_t i = 0; i < st->num_in; i++) {
		uint32_t e = s->edge_in[st->first_in + i];

		if (rdu_pattern_at_first(&s->edges[e].dst_at, done[stage]))
			count[e]--;
	}
}

void rdu_tokens_give(const struct rdu_section *s, uint64_t *count, uint64_t *done, uint32_t stage)
{
	const struct rdu_stage *st = &s->stages[stage];

	for (uint32_t i = 0; i < st->num_out; i++) {
		uint32_t e = s->edge_out[st->first_out + i];

		if (rdu_pattern_at_last(&s->edges[e].src_at, done[stage]))
			count[e]++;
	}
	done[stage]++;
}

/* Which order is taken makes no difference to whether the end is reached: an
 * edge has one taker. */
static int check_deadlock(struct rdu_section *s, struct rdu_cfg_diag *diag)
{
	uint32_t n = s->num_stages, head = 0, tail = 0, i;
	uint64_t *count = calloc((size_t)s->num_edges + n + 1, sizeof(*count)), *done, events = 0;
	uint32_t *queue = calloc((size_t)n + 1, sizeof(*queue));
	uint8_t *queued = calloc((size_t)n + 1, 1);
	int ret = 0;

	if (!count || !queue || !queued) {
		ret = RDU_REFUSE(s, diag, TOO_LARGE, &s->hdr->tokens, "no memory");
		goto out;
	}
	done = count + s->num_edges;
	for (i = 0; i < n; i++)
		events +=
			s->stages[i].activations * (1 + s->stages[i].num_in + s->stages[i].num_out);
	if (events > *s->events_left) {
		ret = RDU_REFUSE(s, diag, TOO_LARGE, &s->hdr->tokens,
				 "%llu activations and tokens: at most %llu are left",
				 (unsigned long long)events, (unsigned long long)*s->events_left);
		goto out;
	}
	*s->events_left -= events;

	rdu_tokens_start(s, count, done);
	for (i = 0; i < n; i++) {
		queue[tail++] = i;
		queued[i] = 1;
	}
	tail %= n ? n : 1;
	for (uint32_t left = n; left;) {
		uint32_t st = queue[head];
		bool ran = false;

		head = (head + 1) % n;
		left--;
		queued[st] = 0;
		while (rdu_tokens_ready(s, count, done, st)) {
			rdu_tokens_take(s, count, done, st);
			rdu_tokens_give(s, count, done, st);
			ran = true;
		}
		if (!ran)
			continue;
		for (i = 0; i < s->stages[st].num_out; i++) {
			uint32_t d = s->edges[s->edge_out[s->stages[st].first_out + i]].dst;

			if (queued[d] || done[d] >= s->stages[d].activations)
				continue;
			queued[d] = 1;
			queue[tail] = d;
			tail = (tail + 1) % n;
			left++;
		}
	}
	for (i = 0; i < n && !ret; i++) {
		const struct rdu_stage *st = &s->stages[i];

		if (done[i] >= st->activations)
			continue;
		for (uint32_t k = 0; k < st->num_in && !ret; k++) {
			uint32_t e = s->edge_in[st->first_in + k];
			const struct rdu_cfg_token *t = &s->tokens[s->edges[e].token];

			if (!count[e] && rdu_pattern_at_first(&s->edges[e].dst_at, done[i]))
				ret = RDU_REFUSE(s, diag, DEADLOCK, t,
						 "program %u waits for ever for a token of program "
						 "%u, after %llu of %llu activations",
						 t->dst, t->src, (unsigned long long)done[i],
						 (unsigned long long)st->activations);
		}
	}
out:
	free(count);
	free(queue);
	free(queued);
	return ret;
}

static int check_tokens(struct rdu_section *s, struct rdu_cfg_diag *diag)
{
	for (uint32_t i = 0; i < s->hdr->tokens.count; i++) {
		const struct rdu_cfg_token *t = &s->tokens[i];

		if (t->src >= s->hdr->programs.count || t->dst >= s->hdr->programs.count)
			return RDU_REFUSE(s, diag, TOKEN, t, "edge %u: from program %u to %u of %u",
					  i, t->src, t->dst, s->hdr->programs.count);
		if (t->src_mask >> s->programs[t->src].num_outer ||
		    t->dst_mask >> s->programs[t->dst].num_outer)
			return RDU_REFUSE(
				s, diag, MASK, &t->src_mask,
				"edge %u: masks 0x%x and 0x%x of %u and %u outer counters", i,
				t->src_mask, t->dst_mask, s->programs[t->src].num_outer,
				s->programs[t->dst].num_outer);
	}
	return 0;
}

int rdu_validate_tokens(struct rdu_section *s, struct rdu_cfg_diag *diag)
{
	uint32_t n = s->hdr->tokens.count;
	const struct rdu_cfg_token **sorted = calloc((size_t)n + 1, sizeof(*sorted));
	int ret;

	if (!sorted)
		return RDU_REFUSE(s, diag, TOO_LARGE, &s->hdr->tokens, "no memory");
	for (uint32_t i = 0; i < n; i++)
		sorted[i] = &s->tokens[i];
	qsort(sorted, n, sizeof(*sorted), by_ends);
	ret = check_buffers(s, diag) || check_tokens(s, diag) || check_races(s, sorted, diag) ||
			      (!s->has_arg_limits &&
			       (make_edges(s, diag) || check_deadlock(s, diag)))
		      ? -1
		      : 0;
	free(sorted);
	return ret;
}
