# SPDX-License-Identifier: MIT
# Unit tests: one program each, run by `make test` with ASan and UBSan.

# The card's front: registers, queues, page tables, programs.
$(eval $(call unit_test,card_chip,tests/unit/card_chip.c,librdumodel))
$(eval $(call unit_test,card_regs,tests/unit/card_regs.c,librdumodel))
$(eval $(call unit_test,card_queue,tests/unit/card_queue.c,librdumodel))
$(eval $(call unit_test,card_inject,tests/unit/card_inject.c,librdumodel))
$(eval $(call unit_test,card_state,tests/unit/card_state.c,librdumodel))
# Modelled time.
$(eval $(call unit_test,timing_small,tests/unit/timing_small.c,librdumodel))
$(eval $(call unit_test,timing_kept,tests/unit/timing_kept.c,librdumodel))
$(eval $(call unit_test,energy,tests/unit/energy.c,librdumodel,-lm))
# The fabric: validation, execution, numerics.
$(eval $(call unit_test,fabric_run,tests/unit/fabric_run.c,librdumodel,-lm))
$(eval $(call unit_test,fabric_threads,tests/unit/fabric_threads.c,librdumodel,-lm))
$(eval $(call unit_test,fabric_gemm,tests/unit/fabric_gemm.c,librdumodel,-lm))
$(eval $(call unit_test,fabric_merge,tests/unit/fabric_merge.c,librdumodel,-lm))
$(eval $(call unit_test,fabric_transfer,tests/unit/fabric_transfer.c,librdumodel,-lm))
$(eval $(call unit_test,card_doc,tests/unit/card_doc.c,librdumodel))
$(eval $(call unit_test,card_run,tests/unit/card_run.c,librdumodel))
$(eval $(call unit_test,card_keep,tests/unit/card_keep.c,librdumodel))
$(eval $(call unit_test,card_planes,tests/unit/card_planes.c,librdumodel))
$(eval $(call unit_test,fabric_numerics,tests/unit/fabric_numerics.c,librdumodel,-lm))
$(eval $(call unit_test,fabric_validate,tests/unit/fabric_validate.c,librdumodel,-lm))
