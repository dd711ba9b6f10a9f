import { storageConformance } from '../conformance/storage.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';

storageConformance('memory', async () => new MemoryStorage());
