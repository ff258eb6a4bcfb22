import { defineStore } from 'pinia'
import { shallowRef } from 'vue'

import type { DeviceView } from '../protocol'

/** All devices, as last told. */
export const useDevices = defineStore('devices', () => {
  const devices = shallowRef<readonly DeviceView[]>([])

  function told(now: readonly DeviceView[] | null | undefined): void {
    if (now) devices.value = now
  }

  return { devices, told }
})

/** The devices that a run uses. */
export function devicesOf(devices: readonly DeviceView[], run: string, job: string): DeviceView[] {
  return devices.filter((device) =>
    (device.replicas ?? []).some(([theirRun, theirJob]) => theirRun === run && theirJob === job),
  )
}
