// SPDX-License-Identifier: MIT
/* rdu train: what is seen of it: the progress line, the picture, the summary. */
#include <math.h>
#include <string.h>
#include <unistd.h>
#include "train.h"

static double card_seconds(const struct trainer *t)
{
	return (t->sum.end_cycle - t->sum.start_cycle) / chip_hz(&t->s);
}

/* Images, rows or tokens that the steps took. */
static double units_done(const struct trainer *t)
{
	return (double)(t->done - t->first) * t->micro * t->batch * t->data.units;
}

void progress(struct trainer *t, bool last)
{
	unsigned int here = t->done - t->first;
	const struct loss_point *p = &t->curve[here - 1];
	double now = now_seconds(), elapsed = now - t->start;
	bool terminal = t->plan.progress == 1 || (t->plan.progress < 0 && isatty(1));
	unsigned int tenth = t->steps / 10 ? t->steps / 10 : 1, i;
	char text[32], bar[25], held[40] = "";

	if (!t->plan.progress || t->plan.json)
		return;
	if (terminal ? !last && now - t->last_line < 0.1 : !last && t->done % tenth)
		return;
	t->last_line = now;
	for (i = 0; i < 24; i++)
		bar[i] = i < 24ull * t->done / t->steps ? '#' : '.';
	bar[24] = 0;
	terminal &= t->out == stdout;
	if (!isnan(t->held_loss))
		snprintf(held, sizeof(held), "  held out %.4f", t->held_loss);
	fprintf(t->out, "%s[%s] step %*u/%u  loss %.4f%s  lr %.2e  %5.0f %s/s  card time %s%s",
		terminal ? "\r" : "", bar, t->steps > 999 ? 4 : 3, t->done, t->steps,
		loss_mean(t->curve, here), held, p->lr, units_done(t) / elapsed, t->data.unit,
		human_time(card_seconds(t), text, sizeof(text)),
		terminal && !last ? "   " : "   \n");
	line_open = terminal && !last;
	fflush(t->out);
}

int write_curve(struct trainer *t)
{
	char text[32], subtitle[160];
	int ret;

	if (!t->plan.curve)
		return 0;
	snprintf(subtitle, sizeof(subtitle), "%u steps of %u %s, %s%s, card time %s (modelled)",
		 t->done, t->batch * t->micro * t->data.units, t->data.unit,
		 rdu_file_chip(t->s.file)->name,
		 rdu_file_chip(t->s.file)->assumed ? " (numbers partly assumed)" : "",
		 human_time(card_seconds(t), text, sizeof(text)));
	ret = write_loss_svg(t->plan.curve, t->curve, t->done - t->first, "Training loss", subtitle,
			     t->loss_name);
	return ret ? fail("--loss-curve %s: %s", t->plan.curve, strerror(-ret)) : 0;
}

static bool tells_tokens(const struct trainer *t)
{
	return !strcmp(t->data.unit, "tokens");
}

static void report_json(struct trainer *t, double mean, double wall, const char *hash)
{
	char rate[40];
	struct json j;

	json_open(&j, t->out);
	json_integer(&j, "steps", t->done);
	json_integer(&j, "runs", t->collected);
	json_number(&j, "loss", mean);
	if (!isnan(t->held_loss)) {
		json_number(&j, "held_out_loss", t->held_loss);
		if (tells_tokens(t))
			json_number(&j, "perplexity", exp(t->held_loss));
	}
	json_stats(&j, "stats", &t->sum, chip_hz(&t->s));
	json_number(&j, "wall_seconds", wall);
	snprintf(rate, sizeof(rate), "%s_per_second", t->data.unit);
	json_number(&j, rate, units_done(t) / wall);
	json_string(&j, "weights_hash", hash);
	if (t->plan.save && t->saved == t->done)
		json_string(&j, "saved", t->plan.save);
	json_close(&j);
}

static void report_lines(struct trainer *t, FILE *out, double mean, double wall, const char *hash)
{
	double hz = chip_hz(&t->s);

	fprintf(out, "steps %u\nruns %u\nloss %.6f\n", t->done, t->collected, mean);
	if (!isnan(t->held_loss)) {
		fprintf(out, "held_out_loss %.6f\n", t->held_loss);
		if (tells_tokens(t))
			fprintf(out, "perplexity %.4f\n", exp(t->held_loss));
		fprintf(out, "modelled_held_out_seconds %.6f\n", t->held_cycles / hz);
	}
	fprintf(out,
		"modelled_seconds %.6f\nmodelled_exec_seconds %.6f\n"
		"modelled_pload_seconds %.6f\nmodelled_aload_seconds %.6f\n",
		card_seconds(t), t->sum.exec_cycles / hz, t->sum.pload_cycles / hz,
		t->sum.aload_cycles / hz);
	if (t->sum.energy)
		fprintf(out, "modelled_joules %.6g\n", t->sum.energy * 1e-12);
	fprintf(out, "wall_seconds %.3f\n%s_per_second %.0f\nweights_hash %s\n", wall, t->data.unit,
		units_done(t) / wall, hash);
}

int report(struct trainer *t, double wall)
{
	double mean = loss_mean(t->curve, t->done - t->first);
	FILE *out = t->out;
	struct lr_outfile o;
	uint64_t hash;
	char hex[24];
	int ret = 0;

	if (rdu_program_weights_hash(t->s.prog, &hash))
		return fail("%s", rdu_error_text(t->s.prog));
	snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)hash);
	if (t->plan.json) {
		report_json(t, mean, wall, hex);
		return 0;
	}
	print_stats(out, &t->sum, chip_hz(&t->s));
	if (t->plan.save && t->saved == t->done)
		fprintf(out, "saved\n  %s, the weights after step %u of %u\n", t->plan.save,
			t->saved, t->steps);
	if (t->plan.results)
		out = lr_outfile_open(&o, t->plan.results);
	if (!out)
		return fail("--results %s: %s", t->plan.results, strerror(-o.error));
	report_lines(t, out, mean, wall, hex);
	if (t->plan.results)
		ret = lr_outfile_close(&o);
	return ret ? fail("--results %s: %s", t->plan.results, strerror(-ret)) : 0;
}
