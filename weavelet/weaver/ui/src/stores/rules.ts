import { defineStore } from 'pinia'
import { computed, shallowRef } from 'vue'

import type { RuleView } from '../protocol'

/** The weaver's rules, as last told. */
export const useRules = defineStore('rules', () => {
  const rules = shallowRef<readonly RuleView[]>([])
  /** Those that were switched off. */
  const broken = computed(() => rules.value.filter((rule) => rule.off))

  function told(now: readonly RuleView[] | null | undefined): void {
    if (now) rules.value = now
  }

  return { rules, broken, told }
})
